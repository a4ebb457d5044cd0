// Package faults has no code but its tests, of what must hold whatever happens to the servers, their disks and the networks between them.
package faults
