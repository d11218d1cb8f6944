"""What everything else rests on: paths, files, errors, downloads, number formats, stable random draws."""
