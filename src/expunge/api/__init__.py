"""What a user calls: forget, audit, compare, estimate, verify. Puts the other rooms together."""
