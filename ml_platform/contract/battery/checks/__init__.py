"""The checks of a transformer's ten promises."""
