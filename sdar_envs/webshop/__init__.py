"""The store: catalogue, search, pages, goals and reward below; the Gymnasium environment above."""
