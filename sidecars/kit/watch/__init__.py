"""Wait until something happens in folders: by inotify, by watchfiles where the kernel has no inotify, or by polling."""
