package main

import "syscall"

// ownersOnly makes the file that bind will create for a unix socket one to which only its owner may write, whatever the umask is: on Linux
// bind gives it the permissions that the socket has.
func ownersOnly(socket uintptr) error { return syscall.Fchmod(int(socket), 0o600) }
