package etcd

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Revisions reads in which revision each key with a prefix was written last, by what follows the prefix, and the revision of the store in
// which that is so. No value is sent, and none is decrypted.
func Revisions(ctx context.Context, client *clientv3.Client, prefix string) (revisions map[string]int64, at int64, err error) {
	reply, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, 0, err
	}
	revisions = make(map[string]int64, len(reply.Kvs))
	for _, found := range reply.Kvs {
		revisions[strings.TrimPrefix(string(found.Key), prefix)] = found.ModRevision
	}
	return revisions, reply.Header.Revision, nil
}
