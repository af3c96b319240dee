"""Where frames come from: files, folders, cameras that are kept alive. Imports `contract`, `device`, `storage`."""
