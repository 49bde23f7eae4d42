"""An agent in the manner of Terminus-2: the model reads a terminal's screen and answers with keys as JSON.

The protocol is that of Harbor 0.25's Terminus-2, so that scores can be compared with published ones; the words are our
own (docs/terminus.md).
"""
