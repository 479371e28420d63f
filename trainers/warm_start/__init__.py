"""The tiny model that the suite builds from random parameters, and the cloning that gives it some success."""
