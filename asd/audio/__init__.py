"""Reading recordings of any sample rate, number of channels and length."""
