// Package control is how a bench speaks with simulated agents: what it can ask of their process, and what that answers.
package control

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// A State is how the agents of one process stand.
type State struct {
	// Agents that there are to be, and those that have joined, are let in, and were told everything in this session.
	Agents, Joined, Connected, Synchronised int
	// Works that all of them hold together.
	Works int
	// Puts and Removals are how many were received since the process began.
	Puts, Removals int
	// Received and Sent are bytes on the wire, TLS and HTTP/2 included, TCP/IP not.
	Received, Sent int64
	// Problem is one of those that keep agents from their hub; empty when there is none.
	Problem string
}

// An Event is something that has come to one agent.
type Event struct {
	Cluster string
	Key     string
	// Gone is true of a removal.
	Gone bool
	// At is when the agent had it, Sent when the user's request began, as the object itself says (see Stamp); both in
	// nanoseconds since 1970, by the one clock of this machine. Sent is 0 when the object says nothing.
	At, Sent int64
}

// stampPrefix begins the word in a manifest that says when it was sent.
const stampPrefix = "sent-"

// stampDigits is how many digits a time in nanoseconds has, until the year 2286.
const stampDigits = 19

// Stamp is a word that tells, anywhere in a manifest, when a user sent it.
func Stamp(at time.Time) string {
	return fmt.Sprintf("%s%0*d", stampPrefix, stampDigits, at.UnixNano())
}

// SentAt finds the stamp in a manifest; 0 when there is none.
func SentAt(manifest []byte) int64 {
	i := bytes.Index(manifest, []byte(stampPrefix))
	if i < 0 || len(manifest) < i+len(stampPrefix)+stampDigits {
		return 0
	}
	var at int64
	for _, digit := range manifest[i+len(stampPrefix) : i+len(stampPrefix)+stampDigits] {
		if digit < '0' || digit > '9' {
			return 0
		}
		at = 10*at + int64(digit-'0')
	}
	return at
}

// Agents are what a process of simulated agents lets a bench do.
type Agents interface {
	State() State
	// Events returns what has come since the last call, and forgets it.
	Events() []Event
	// Synchronised is when each agent that is in sync became so, in nanoseconds since 1970.
	Synchronised() []int64
	// SetReady has every workload of every agent show so many ready replicas, at once; all that it wants when it is negative.
	SetReady(replicas int)
}

// Handler serves Agents to a Client.
func Handler(agents Agents) http.Handler {
	mux := http.NewServeMux()
	answer := func(path string, ask func(*http.Request) any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := gob.NewEncoder(w).Encode(ask(r)); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	answer("/state", func(*http.Request) any { return agents.State() })
	answer("/events", func(*http.Request) any { return agents.Events() })
	answer("/synchronised", func(*http.Request) any { return agents.Synchronised() })
	mux.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		var replicas int
		if _, err := fmt.Sscan(r.URL.Query().Get("replicas"), &replicas); err != nil {
			http.Error(w, "replicas: "+err.Error(), http.StatusBadRequest)
			return
		}
		agents.SetReady(replicas)
	})
	return mux
}

// A Client speaks with one process of simulated agents.
type Client struct{ http *http.Client }

// NewClient speaks over a unix socket.
func NewClient(socket string) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// State asks how the agents stand.
func (c *Client) State(ctx context.Context) (s State, err error) { return s, c.ask(ctx, "state", &s) }

// Events takes what has come to the agents since the last call.
func (c *Client) Events(ctx context.Context) (e []Event, err error) {
	return e, c.ask(ctx, "events", &e)
}

// Synchronised asks when each agent came to be in sync.
func (c *Client) Synchronised(ctx context.Context) (at []int64, err error) {
	return at, c.ask(ctx, "synchronised", &at)
}

// SetReady has all workloads show so many ready replicas; all that they want when it is negative.
func (c *Client) SetReady(ctx context.Context, replicas int) error {
	return c.ask(ctx, fmt.Sprintf("ready?replicas=%d", replicas), nil)
}

func (c *Client) ask(ctx context.Context, what string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agents/"+what, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("asking the simulated agents: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("asking the simulated agents for %s: %s: %s", what, response.Status, said)
	}
	if into == nil {
		return nil
	}
	if err := gob.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("reading what the simulated agents say of %s: %w", what, err)
	}
	return nil
}
