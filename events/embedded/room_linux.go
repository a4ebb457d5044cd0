package embedded

import "syscall"

// free is how many bytes there are for us on the disk of a directory, if that is known.
func free(dir string) (bytes uint64, known bool) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, false
	}
	return fs.Bavail * uint64(fs.Bsize), true
}
