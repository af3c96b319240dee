"""What turns a network's raw outputs into candidates for suppression, one head per file."""
