"""Text classifiers: inference on ONNX Runtime at run time, training and export offline."""
