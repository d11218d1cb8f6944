"""The answer browser: a static page next to the article that shows every recorded answer.

It needs no server and works from disk: the data are plain scripts that call one function, loaded in parts
when an answer is opened. `collect` reads the records and finds what each option shows, `write` makes the
parts and writes the folder.
"""
