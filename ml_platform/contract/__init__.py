"""What a transformer promises, how it is built and applied, and the battery that proves its promises."""
