"""The tiny model that the suite builds from nothing, and the cloning that teaches it to play a little."""
