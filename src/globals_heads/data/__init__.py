"""Making events: Pythia particles, a fast detector, and the samples written from them."""
