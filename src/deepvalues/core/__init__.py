"""Shared foundations: paths, files, errors, downloads, number formats, stable random draws."""
