"""Take a trained model out of the study: codes and latents of events, ONNX, the chosen run."""
