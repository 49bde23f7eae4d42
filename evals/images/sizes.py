"""Sizes as people read them. Units are powers of 1024, as in the sizes that options take."""


def shown(size: int) -> str:
    """`12.3 GiB`, with three digits that mean something."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{size} B" if unit == "B" else f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
