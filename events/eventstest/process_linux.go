package eventstest

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Process is a server in a process of its own: it can be killed, paused and started again, as often as a test likes. It does not
// outlive the test, however that ends.
type Process struct {
	// Log is what it has written, in all its lives.
	Log Log

	t       testing.TB
	command []string
	cmd     *exec.Cmd     // nil: it never ran
	done    chan struct{} // closed when it has ended
}

// NewProcess returns one that is yet to be started. The test's end kills it.
func NewProcess(t testing.TB, command ...string) *Process {
	p := &Process{t: t, command: command}
	t.Cleanup(p.Kill)
	return p
}

// Start starts it, if it does not run.
func (p *Process) Start() {
	p.t.Helper()
	if p.Running() {
		return
	}
	cmd, done, started := exec.Command(p.command[0], p.command[1:]...), make(chan struct{}), make(chan error)
	cmd.Stdout, cmd.Stderr = &p.Log, &p.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go func() {
		defer close(done)
		runtime.LockOSThread() // the child is killed when the thread ends that has started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ends is said by whoever ends it
		}
	}()
	if err := <-started; err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.done = cmd, done
}

// Running reports whether it runs, or is paused.
func (p *Process) Running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill is kill -9.
func (p *Process) Kill() { p.end(os.Kill) }

// Terminate asks it to end, and waits.
func (p *Process) Terminate() { p.end(syscall.SIGTERM) }

func (p *Process) end(how os.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(how) // fails only when it has ended
	select {
	case <-p.done:
	case <-time.After(Patience):
		p.t.Errorf("%s does not end %v after it got %v", p.command[0], Patience, how)
	}
}

// Pause is kill -STOP: it does nothing, and whoever is connected to it does not know.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}
