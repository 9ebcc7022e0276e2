"""Building blocks that several model families share. Import the module you need; each imports Keras when called."""
