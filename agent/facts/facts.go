// Package facts tells the hub about the member as a whole: its version, the kinds it serves, its
// nodes, and what of them is allocatable and requested; and, when the hub asks, for how many replicas of
// a workload there is room. It never writes.
//
// Of nodes and pods only what is counted is kept, so that a large member does not make a large agent.
package facts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"windlass.dev/windlass/agent/member"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

// Kinds knows which kinds the member serves; *member.Kinds does.
type Kinds interface {
	Served() (apis []*linkv1.ServedAPI, complete bool)
	OnChange(f func())
}

// Config of Facts. Clients, Kinds, Logger and Now are needed.
type Config struct {
	Clients *member.Clients
	Kinds   Kinds
	Logger  *slog.Logger
	Now     func() time.Time
	// Trouble returns why the agent can write nothing to the member; nil while it can. A nil Trouble means that it always can.
	Trouble func() error
	// Interval is the shortest time between two publications, and how often the API server is asked
	// whether it is well; 10 seconds when 0.
	Interval time.Duration
	// Threshold is the part of a number's size by which it must change to be worth a publication
	// of its own; 0.05 when 0.
	Threshold float64
	// MaxAge is after how long smaller changes are published; 5 minutes when 0.
	MaxAge time.Duration
}

// firstWait is how long the first publication waits for nodes and pods, which the agent may have no
// right to list.
const firstWait = 5 * time.Second

const (
	// askLimit is how long the API server may take to say whether it is well.
	askLimit = 10 * time.Second
	// notReadyAfter failures in a row make it count as not ready: one can be an accident.
	notReadyAfter = 2
)

// versionInterval is how often the member is asked for its version.
const versionInterval = 10 * time.Minute

// Facts gathers. Its methods may be called concurrently.
type Facts struct {
	config  Config
	tally   *tally
	changed chan struct{}
	dirty   chan struct{}

	// Used by Run alone.
	version    string
	versionAt  time.Time
	failures   int
	apiReason  string
	apiMessage string

	// asked is what the hub asked about capacity.
	asked asked

	mu        sync.Mutex
	published *linkv1.ClusterFacts
}

// New returns Facts that know nothing before Run.
func New(config Config) (*Facts, error) {
	if config.Clients == nil || config.Kinds == nil || config.Logger == nil || config.Now == nil {
		return nil, errors.New("facts: Clients, Kinds, Logger and Now are needed")
	}
	if config.Interval <= 0 {
		config.Interval = 10 * time.Second
	}
	if config.Threshold <= 0 {
		config.Threshold = 0.05
	}
	if config.MaxAge <= 0 {
		config.MaxAge = 5 * time.Minute
	}
	if config.Trouble == nil {
		config.Trouble = func() error { return nil }
	}
	f := &Facts{config: config, changed: make(chan struct{}, 1), dirty: make(chan struct{}, 1)}
	f.asked.grown = make(chan struct{}, 1)
	f.tally = newTally(f.touch)
	config.Kinds.OnChange(f.touch)
	return f, nil
}

func (f *Facts) touch() { signal(f.changed) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dirty is signalled when Facts has something new.
func (f *Facts) Dirty() <-chan struct{} { return f.dirty }

// Facts returns what was last published, nil when that was nothing yet. It must not be changed.
func (f *Facts) Facts() *linkv1.ClusterFacts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.published
}

// Run gathers until ctx ends.
func (f *Facts) Run(ctx context.Context) error {
	var watches sync.WaitGroup
	defer watches.Wait()
	watches.Go(func() { f.tally.nodes.watch(ctx, f.config.Clients.Core) })
	watches.Go(func() { f.tally.pods.watch(ctx, f.config.Clients.Core) })

	f.waitForFirst(ctx)
	for ctx.Err() == nil {
		f.ask(ctx)
		f.publish()
		f.asked.compare(f.tally)
		pause := time.NewTimer(f.config.Interval)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	return nil
}

// waitForFirst waits until nodes, pods and kinds were read once, or it takes too long.
func (f *Facts) waitForFirst(ctx context.Context) {
	limit := time.NewTimer(firstWait)
	defer limit.Stop()
	for !f.tally.synced() || !f.kindsKnown() {
		select {
		case <-ctx.Done():
			return
		case <-limit.C:
			return
		case <-f.changed:
		}
	}
}

func (f *Facts) kindsKnown() bool {
	apis, _ := f.config.Kinds.Served()
	return len(apis) > 0
}

// ask asks the API server whether it is well and, now and then, for its version.
func (f *Facts) ask(parent context.Context) {
	ctx, cancel := context.WithTimeout(parent, askLimit)
	defer cancel()
	if err := f.config.Clients.Discovery.Ready(ctx); err != nil {
		if f.failures++; f.failures < notReadyAfter {
			return
		}
		f.apiReason, f.apiMessage = "APIServerNotReady", fmt.Sprintf("the member's API server is not ready: %v", err)
		return
	}
	f.failures, f.apiReason, f.apiMessage = 0, "APIServerReady", ""
	if f.version != "" && f.config.Now().Sub(f.versionAt) < versionInterval {
		return
	}
	version, err := f.config.Clients.Discovery.Version(ctx)
	if err != nil && parent.Err() != nil {
		return
	}
	if err != nil {
		f.config.Logger.Warn("The member's version could not be read; trying again.", "error", err)
		return
	}
	f.version, f.versionAt = version, f.config.Now()
}

// publish publishes the facts if they are worth it.
func (f *Facts) publish() {
	now := f.config.Now()
	next := f.gather()
	f.mu.Lock()
	defer f.mu.Unlock()
	if before := f.published; before != nil {
		next.ObservedAt = before.ObservedAt
		if proto.Equal(before, next) {
			return
		}
		if !significant(before, next, f.config.Threshold) && now.Sub(before.GetObservedAt().AsTime()) < f.config.MaxAge {
			return
		}
	}
	next.ObservedAt = timestamppb.New(now)
	f.published = next
	signal(f.dirty)
}

func (f *Facts) gather() *linkv1.ClusterFacts {
	facts := f.tally.facts()
	facts.KubernetesVersion = f.version
	facts.ApiReady = f.apiReason == "APIServerReady"
	facts.ApiReason, facts.ApiMessage = f.apiReason, f.apiMessage
	if trouble := f.config.Trouble(); trouble != nil && facts.ApiReady {
		facts.ApiReady, facts.ApiReason = false, "AgentCannotWrite"
		facts.ApiMessage = fmt.Sprintf("the agent writes nothing to the member: %v", trouble)
	}
	facts.Apis, facts.ApisComplete = f.config.Kinds.Served()
	return facts
}
