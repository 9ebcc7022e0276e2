"""Train embedders: pictures of one person near one another, of two people apart. Import the module you need."""
