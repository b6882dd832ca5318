"""Interactive figures of the book: data from the library, a still picture,
and a script that brings both to life.

The scripts are plain JavaScript in `book/assets`; they work from static files, without a network. Where they
simulate something themselves, a test compares their numbers with those of the library.
"""

# ruff: noqa: F401 (the names are gathered here for the notebooks)
from jpo_book.interactive.aim import aim_cue_ball
from jpo_book.interactive.chaos import turn_up_chaos
from jpo_book.interactive.figure import InteractiveFigure
from jpo_book.interactive.packet import move_packet
from jpo_book.interactive.training import play_training
