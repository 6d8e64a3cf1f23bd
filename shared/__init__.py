"""What two or more functions use, staged whole beside each of them."""
