"""Posts from Bluesky, through a Jetstream websocket: the model for whoever adds a network.

A network has one class, named SOURCE here. What the class declares is all that the rest of the
app knows of the network. In the order of reading:

    wire.py    how a message is written, and what of it is a post
    place.py   where to go on reading, on servers that differ
    source.py  the connection, and what becomes of a message
"""

from app.sources.bluesky.source import Bluesky

SOURCE = Bluesky
