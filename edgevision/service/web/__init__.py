"""The live page: annotated video, results, controls, metrics and health over HTTP."""
