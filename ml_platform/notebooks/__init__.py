"""Python that people write in notebooks: read cell by cell, and lifted into modules."""
