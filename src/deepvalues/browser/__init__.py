"""The answer browser: a static page beside the article on which every recorded answer can be read.

It has no server and works from disk: data lie in plain scripts that call one function, and are loaded in
parts when a detail is opened. `collect` reads the records and says what the options of a question show,
`encode` makes the parts, `write` the folder.
"""
