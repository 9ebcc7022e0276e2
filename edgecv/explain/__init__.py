"""What a network looks at, what its units respond to, and where pictures lie in its embedding space."""
