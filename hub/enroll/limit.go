package enroll

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/lru"
)

// maxRemembered bounds the memory that strangers can take; whoever is forgotten begins with a full bucket.
const maxRemembered = 8192

// limiters has one token bucket for every key that was seen lately.
type limiters struct {
	limit rate.Limit
	burst int

	mu     sync.Mutex
	recent *lru.Cache
}

func newLimiters(limit rate.Limit, burst int) *limiters {
	return &limiters{limit: limit, burst: burst, recent: lru.New(maxRemembered)}
}

func (l *limiters) allow(key any, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.recent.Get(key)
	if !ok {
		bucket = rate.NewLimiter(l.limit, l.burst)
		l.recent.Add(key, bucket)
	}
	return bucket.(*rate.Limiter).AllowN(now, 1)
}

// clientOf is the address a request is counted for. Whoever has one IPv6 address has a whole /64.
func clientOf(remoteAddr string) netip.Prefix {
	address, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	ip := address.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
