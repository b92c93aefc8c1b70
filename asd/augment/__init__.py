"""What happens to waveforms and spectra in training only."""
