"""What the parity tests compare with: torch, live or recorded."""
