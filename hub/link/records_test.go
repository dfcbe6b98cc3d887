package link

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOfWhatIsSaidOfASubjectTheNewestOfTheNewestSessionIsWritten(t *testing.T) {
	about := subject{"edge", recordWork, "web"}
	for _, c := range []struct {
		reason string
		put    []int64 // epochs, in the order in which sessions say something
		want   []int   // which of it is written
	}{
		{"the newest of one session", []int64{7, 7, 7}, []int{2}},
		{"a session that replaced another", []int64{7, 8}, []int{1}},
		{"a session that was replaced, and still has something to say", []int64{7, 8, 7}, []int{1}},
	} {
		q := newRecordQueue(time.Minute, slog.New(slog.DiscardHandler))
		var wrote []int
		for i, epoch := range c.put {
			q.put(about, epoch, func(context.Context) error { wrote = append(wrote, i); return nil })
		}
		q.drain(t.Context())
		if diff := cmp.Diff(c.want, wrote); diff != "" || q.length() != 0 {
			t.Errorf("%s (-want +got):\n%s, and %d are left", c.reason, diff, q.length())
		}
	}
}

func TestWhatCouldNotBeWrittenStaysWhateverAReplacedSessionSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		about := subject{"edge", recordWork, "web"}
		q := newRecordQueue(time.Minute, slog.New(slog.DiscardHandler))
		tries := 0
		q.put(about, 8, func(context.Context) error {
			q.put(about, 7, func(context.Context) error { t.Error("what a replaced session said was written"); return nil })
			if tries++; tries == 1 {
				return errors.New("the store is away")
			}
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		go q.run(ctx, 1)
		time.Sleep(2 * recordRetryMin) // of the bubble's time
		stop()
		synctest.Wait()
		if tries != 2 || q.length() != 0 {
			t.Errorf("it was tried %d times, and %d are left; want 2 and none", tries, q.length())
		}
	})
}
