package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
)

const (
	// defaultQuota is up to where etcd's authors have tried it.
	defaultQuota = 8 << 30
	// nearQuota is the percentage of the quota from which on a person hears of it.
	nearQuota = 80
	// lookEvery is how often a running store is looked at; nothing is read from the disk for that.
	lookEvery = time.Minute
)

// sizes are those of the embedded store, in bytes. It takes no more writes when its file is as large as the quota,
// and a file does not shrink when less of it is in use.
type sizes struct{ file, inUse, quota int64 }

func (e *Etcd) sizes() sizes {
	server := e.server.Server
	return sizes{file: server.Backend().Size(), inUse: server.Backend().SizeInUse(), quota: server.Cfg.QuotaBackendBytes}
}

func (s sizes) attributes() []any {
	return []any{"file", mebibytes(s.file), "inUse", mebibytes(s.inUse), "quota", mebibytes(s.quota)}
}

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

func (s sizes) near(bytes int64) bool { return bytes*100 >= s.quota*nearQuota }

// worthDefragmenting says whether a new file would be much smaller, or is the only hope.
func (s sizes) worthDefragmenting() bool { return s.inUse < s.file/2 || s.file >= s.quota }

// A fullness is what a person has to do about a store's size.
type fullness int

const (
	roomy fullness = iota
	slack          // its next start gives back what is not in use
	tight          // it has too much in it
	full           // it has stopped to take writes
)

func (s sizes) fullness(stopped bool) fullness {
	switch {
	case stopped:
		return full
	case s.near(s.inUse):
		return tight
	case s.near(s.file) && s.worthDefragmenting():
		return slack
	}
	return roomy
}

// makeRoom brings a store that is full, or nearly, back to the size of what is in use. A full one does not get out of
// that by itself: etcd refuses also the write with which the API server compacts, and goes on to refuse when its file
// is smaller, until it is told that there is room. It is called while nobody uses the store: a new file is written, and all who
// read or write wait for that; and nobody reads the past.
func (e *Etcd) makeRoom(ctx context.Context) error {
	stopped, found := e.stopped(), e.sizes()
	switch {
	case stopped:
		e.log.Warn("the store is full and has taken no more writes: old versions are taken out before the hub starts", found.attributes()...)
	case found.near(found.file):
		e.log.Info("the store is nearly full: old versions are taken out before the hub starts", found.attributes()...)
	default:
		return nil
	}
	if err := e.dropOldVersions(ctx); err != nil {
		return fmt.Errorf("taking old versions out of the store: %w", err)
	}
	if left := e.sizes(); left.worthDefragmenting() {
		e.log.Info("the store's file is written anew", left.attributes()...)
		if err := e.server.Server.Defragment(); err != nil && stopped {
			return fmt.Errorf("writing the store's file anew, for which its disk must have as much room as is in use (%s): %w", mebibytes(left.inUse), err)
		} else if err != nil {
			e.log.Warn("writing the store's file anew failed; it is as it was", "error", err)
		}
	}
	if stopped {
		return e.takeWritesAgain(ctx)
	}
	e.tellFullness(e.sizes().fullness(false), roomy)
	return nil
}

// stopped says whether the store has run into its quota. It remembers that over restarts.
func (e *Etcd) stopped() bool { return len(e.spaceAlarms()) > 0 }

func (e *Etcd) spaceAlarms() []*etcdserverpb.AlarmMember {
	var alarms []*etcdserverpb.AlarmMember
	for _, alarm := range e.server.Server.Alarms() {
		if alarm.Alarm == etcdserverpb.AlarmType_NOSPACE {
			alarms = append(alarms, alarm)
		}
	}
	return alarms
}

func (e *Etcd) dropOldVersions(ctx context.Context) error {
	server := e.server.Server
	_, err := server.Compact(ctx, &etcdserverpb.CompactionRequest{Revision: server.KV().Rev(), Physical: true})
	if errors.Is(err, mvcc.ErrCompacted) {
		return nil // there are none
	}
	return err
}

func (e *Etcd) takeWritesAgain(ctx context.Context) error {
	left := e.sizes()
	if left.file >= left.quota {
		return fmt.Errorf("the store is full: its file has %s without any old versions, and may have %s: raise etcd.quotaGiB in the hub's configuration file, "+
			"and delete what is not needed", mebibytes(left.file), mebibytes(left.quota))
	}
	for _, alarm := range e.spaceAlarms() {
		if _, err := e.server.Server.Alarm(ctx, &etcdserverpb.AlarmRequest{
			Action: etcdserverpb.AlarmRequest_DEACTIVATE, MemberID: alarm.MemberID, Alarm: alarm.Alarm,
		}); err != nil {
			return fmt.Errorf("telling etcd that there is room again: %w", err)
		}
	}
	e.log.Warn("the store takes writes again", left.attributes()...)
	e.tellFullness(left.fullness(false), roomy)
	return nil
}

// WatchRoom tells of a store that is nearly full, or full, until the context ends. It does not make room: everybody
// would wait for that, and watches may still read the past.
func (e *Etcd) WatchRoom(ctx context.Context) error {
	if !e.Embedded() {
		return nil
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	told := e.sizes().fullness(false) // that much makeRoom has told
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			told = e.tellFullness(e.sizes().fullness(e.stopped()), told)
		}
	}
}

// tellFullness tells of what was not told before, and returns what is known now.
func (e *Etcd) tellFullness(now, told fullness) fullness {
	if now == told {
		return now
	}
	switch attributes := e.sizes().attributes(); now {
	case full:
		e.log.Error("the store is full and takes no more writes: start the hub again, which makes room; if that is not enough, it says so and what to do", attributes...)
	case tight:
		e.log.Warn("the store is nearly full: old versions go within ten minutes, but what else is not needed has to be deleted, or etcd.quotaGiB raised in the hub's configuration file", attributes...)
	case slack:
		e.log.Warn("the store's file is nearly as large as it may become, and most of it is not in use: start the hub again, at a moment that suits, which makes it smaller", attributes...)
	}
	return now
}
