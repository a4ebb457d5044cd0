package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// The errors that callers branch on.
var (
	// ErrNoBackup: the file is something else.
	ErrNoBackup = errors.New("this is not a file of keyherald backup")
	// ErrDamaged: the file is not a whole and unchanged backup.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrVersion: the file is of a format that this version does not know.
	ErrVersion = errors.New("the backup is of another format")
	// ErrOtherPlatform: the backup and the buckets have records of two different platforms.
	ErrOtherPlatform = errors.New("the backup is of another platform")
)

// Archive is a file that has been read to its end and found to be whole. What it holds in memory is not the records, but where
// in the file each is: some 150 bytes a name.
type Archive struct {
	Summary Summary
	file    io.ReaderAt
	size    int64
	items   map[bus.Bucket]map[string]*item
}

// Open reads a file of the given size. The file must not change as long as the Archive is used; what of it is used later is held
// against what it was.
func Open(file io.ReaderAt, size int64, meter Meter) (*Archive, error) {
	a := &Archive{file: file, size: size, items: map[bus.Bucket]map[string]*item{}}
	s := &scanner{archive: a, in: bufio.NewReaderSize(io.NewSectionReader(file, 0, size), maxLine+1), digest: sha256.New()}
	var end func()
	s.add, end = meter.start("checking the file", int(size>>meterShift))
	defer end()
	if err := s.scan(); err != nil {
		if errors.Is(err, ErrVersion) || errors.Is(err, ErrNoBackup) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: line %d: %w", ErrDamaged, s.number, err)
	}
	return a, nil
}

// meterShift makes a file's progress count in KiB.
const meterShift = 10

// scanner reads a file line by line.
type scanner struct {
	archive *Archive
	in      *bufio.Reader
	digest  hash.Hash
	number  int   // of the line, from 1 on
	offset  int64 // of the line
	next    int64 // of the one after it
	metered int64
	names   int
	add     func(int)
	line    lineReader
}

var (
	errTruncated = errors.New("the file ends here, and a whole one ends with its checksum")
	errLongLine  = fmt.Errorf("longer than the %d bytes that a line has at most", maxLine)
)

// read returns the next line without its end, which is valid until the next call.
func (s *scanner) read() ([]byte, error) {
	s.number++
	line, err := s.in.ReadSlice('\n')
	s.offset = s.next
	s.next += int64(len(line))
	if done := s.next >> meterShift; done > s.metered {
		s.add(int(done - s.metered))
		s.metered = done
	}
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errLongLine
	case errors.Is(err, io.EOF):
		return nil, errTruncated
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

// parse reads the next line into s.line, and counts it into the checksum.
func (s *scanner) parse() error {
	line, err := s.read()
	if err != nil {
		return err
	}
	return s.take(line)
}

func (s *scanner) take(line []byte) error {
	s.digest.Write(line)
	s.digest.Write([]byte{'\n'})
	return s.line.parse(line)
}

func (s *scanner) scan() error {
	if err := s.header(); err != nil {
		return err
	}
	for range order() {
		if err := s.section(); err != nil {
			return err
		}
	}
	sum := &s.archive.Summary
	sum.SHA256 = hex.EncodeToString(s.digest.Sum(nil))
	sum.Bytes = s.archive.size
	if err := s.parse(); err != nil {
		return err
	}
	l := &s.line
	said, records := l.text("sha256"), l.number("records")
	switch {
	case l.err != nil:
		return l.err
	case said != sum.SHA256:
		return errors.New("the checksum is another one: something in the file was changed")
	case records != uint64(sum.Records):
		return fmt.Errorf("there are %d records, not %d", sum.Records, records)
	case s.next != s.archive.size:
		return errors.New("something follows the checksum")
	}
	return s.platform()
}

func (s *scanner) header() error {
	line, err := s.read()
	if err != nil || !bytes.HasPrefix(line, []byte("{")) {
		return ErrNoBackup
	}
	if err := s.take(line); err != nil {
		return ErrNoBackup
	}
	l, sum := &s.line, &s.archive.Summary
	if l.text("format") != formatName {
		return ErrNoBackup
	}
	if version := l.number("version"); l.err == nil && version != formatVersion {
		return fmt.Errorf("%w: version %d, and this keyherald reads %d: use the one that has made it, or a later one", ErrVersion, version, formatVersion)
	}
	sum.Made, sum.By, sum.Server = l.time("made"), l.text("by"), l.text("nats")
	sum.Platform = Platform{l.text("iss"), l.text("account")}
	return l.err
}

// section reads a bucket: its opening, its messages, its closing.
func (s *scanner) section() error {
	if err := s.parse(); err != nil {
		return err
	}
	l := &s.line
	x := Section{
		Bucket: bus.Bucket(l.text("bucket")), Stream: l.text("stream"), Created: l.time("created"), First: l.number("first_seq"), Last: l.number("last_seq"),
	}
	switch {
	case l.err != nil:
		return l.err
	case !slices.Contains(order(), x.Bucket) || s.archive.items[x.Bucket] != nil:
		return errors.New("what is expected here is a bucket that has not been there before")
	}
	items := map[string]*item{}
	s.archive.items[x.Bucket] = items
	for last := uint64(0); ; {
		if err := s.parse(); err != nil {
			return err
		}
		if l.has("end") {
			break
		}
		e, err := l.entry()
		if err != nil {
			return err
		}
		if e.Revision <= last {
			return fmt.Errorf("sequence %d follows %d", e.Revision, last)
		}
		last = e.Revision
		x.Records++
		if err := s.record(items, x.Bucket, e); err != nil {
			return err
		}
	}
	end, records := l.text("end"), l.number("records")
	x.Through = l.number("through")
	switch {
	case l.err != nil:
		return l.err
	case end != string(x.Bucket) || records != uint64(x.Records):
		return fmt.Errorf("bucket %s has %d records, and its end says otherwise", x.Bucket, x.Records)
	}
	sum := &s.archive.Summary
	sum.Buckets, sum.Records = append(sum.Buckets, x), sum.Records+x.Records
	return nil
}

// record notes where the message that counts on a name is.
func (s *scanner) record(items map[string]*item, b bus.Bucket, e events.Entry) error {
	rule := ruleOf(b, e.Name)
	if rule == ruleLeave {
		return nil
	}
	it := items[e.Name]
	if it == nil {
		if s.names++; s.names > maxNames {
			return fmt.Errorf("more than %d names", maxNames)
		}
		it = new(item)
		items[strings.Clone(e.Name)] = it
	}
	it.take(rule, b, e, s.offset)
	return nil
}

// platform holds what the header says of the platform against its record.
func (s *scanner) platform() error {
	a := s.archive
	it := a.items[bus.Keys][events.IssuerRecord(events.Platform).String()]
	var is Platform
	if it != nil && it.saved == present {
		e, err := a.load(it)
		if err != nil {
			return err
		}
		record, err := events.ParseIssuer(e.Value)
		if err != nil {
			return err
		}
		is = Platform{record.Iss, record.Account}
	}
	if is != a.Summary.Platform {
		return errors.New("the first line names another platform than its record")
	}
	return nil
}

// load reads the message of an item again, and holds it against what was read before.
func (a *Archive) load(it *item) (events.Entry, error) {
	in := bufio.NewReader(io.NewSectionReader(a.file, it.offset, min(a.size-it.offset, maxLine+1)))
	line, err := in.ReadBytes('\n')
	if err != nil {
		return events.Entry{}, fmt.Errorf("reading the backup again: %w", err)
	}
	var l lineReader
	if err := l.parse(line); err != nil {
		return events.Entry{}, fmt.Errorf("%w: it was changed while it was being read", ErrDamaged)
	}
	e, err := l.entry()
	if err != nil || it.sum != digest(e) {
		return events.Entry{}, fmt.Errorf("%w: it was changed while it was being read", ErrDamaged)
	}
	return e, nil
}
