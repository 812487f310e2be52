"""Formats amounts of memory for people."""


def format_bytes(count: int) -> str:
    """Returns an amount of memory as people write it.

    >>> format_bytes(0), format_bytes(3 * 2**30)
    ('not measured', '3.0 GiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB" if count else "not measured"
