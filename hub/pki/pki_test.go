package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func TestASecondLoadFindsTheSameSet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := LoadOrCreate(dir, start)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadOrCreate(dir, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if first.HubID() != second.HubID() || len(first.HubID()) != 64 {
		t.Errorf("hub ids %q and %q: want one of 64 hex digits", first.HubID(), second.HubID())
	}
	if diff := cmp.Diff(first.EncryptionKey, second.EncryptionKey); diff != "" {
		t.Errorf("the encryption key changed: %s", diff)
	}
	if !samePublicKey(first.ServiceAccountKey.Public(), second.ServiceAccountKey.Public()) {
		t.Error("the service account key changed")
	}
}

func TestFilesAreReadableByTheirOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := LoadOrCreate(dir, start); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("the directory has mode %o, want 700", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", entry.Name(), got)
		}
		if strings.Count(entry.Name(), ".") > 1 {
			t.Errorf("the temporary file %s was left", entry.Name())
		}
	}
}

func TestProcessesThatStartTogetherAgreeOnOneSet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			set, err := LoadOrCreate(dir, start)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = set.HubID() + string(set.EncryptionKey)
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatal("two processes loaded different sets from one directory")
		}
	}
}

func TestABrokenDirectoryIsRefusedByName(t *testing.T) {
	for _, c := range []struct {
		reason string
		spoil  func(t *testing.T, dir string)
		now    time.Time
		want   string
	}{
		{
			reason: "a lost encryption key must not be made anew: it would lose every secret",
			spoil:  func(t *testing.T, dir string) { remove(t, dir, "encryption.key") },
			want:   "encryption.key is missing",
		},
		{
			reason: "a lost authority key makes the authority useless",
			spoil:  func(t *testing.T, dir string) { remove(t, dir, "agents-ca.key") },
			want:   "agents-ca.key is missing",
		},
		{
			reason: "a key of another authority signs certificates that nobody accepts",
			spoil: func(t *testing.T, dir string) {
				content, err := os.ReadFile(filepath.Join(dir, "users-ca.key"))
				if err != nil {
					t.Fatal(err)
				}
				overwrite(t, dir, "hub-ca.key", string(content))
			},
			want: "does not belong to",
		},
		{
			reason: "a file that is not PEM",
			spoil:  func(t *testing.T, dir string) { overwrite(t, dir, "users-ca.crt", "garbage") },
			want:   `users-ca.crt holds no PEM block "CERTIFICATE"`,
		},
		{
			reason: "a short encryption key",
			spoil:  func(t *testing.T, dir string) { overwrite(t, dir, "encryption.key", "c2hvcnQ=") },
			want:   "5 bytes, not 32",
		},
		{
			reason: "authorities end after ten years",
			spoil:  func(*testing.T, string) {},
			now:    start.Add(11 * 365 * 24 * time.Hour),
			want:   "expired on 2039",
		},
		{
			reason: "a clock that is set back is named as the likely cause",
			spoil:  func(*testing.T, string) {},
			now:    start.Add(-time.Hour),
			want:   "is this machine's clock right?",
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pki")
			if _, err := LoadOrCreate(dir, start); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, dir)
			now := c.now
			if now.IsZero() {
				now = start
			}
			_, err := LoadOrCreate(dir, now)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestAStartThatWasCutOffIsCarriedOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := LoadOrCreate(dir, start)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, dir, "hub-ca.crt")
	remove(t, dir, "users-ca.crt")
	second, err := LoadOrCreate(dir, start)
	if err != nil {
		t.Fatal(err)
	}
	if first.HubID() != second.HubID() {
		t.Error("the hub's key was made before the cut and must be kept")
	}
	if diff := cmp.Diff(first.EncryptionKey, second.EncryptionKey); diff != "" {
		t.Errorf("the encryption key changed: %s", diff)
	}
}

func TestADirectoryThatCannotBeMadeIsOneClearLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadOrCreate(filepath.Join(file, "pki"), start)
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line", err)
	}
}

func TestAServingCertificateNamesItsHosts(t *testing.T) {
	set, err := LoadOrCreate(t.TempDir(), start)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := set.ServingCertificate([]string{"hub.example", "10.1.2.3", "::1", "", "hub.example", "10.1.2.3"}, start)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"hub.example"}, pair.Leaf.DNSNames); diff != "" {
		t.Error(diff)
	}
	if len(pair.Leaf.IPAddresses) != 2 {
		t.Errorf("addresses %v, want two", pair.Leaf.IPAddresses)
	}
	roots := x509.NewCertPool()
	roots.AddCert(set.Hub.Certificate)
	for _, host := range []string{"hub.example", "10.1.2.3", "::1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: start}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if NeedsRenewal(pair.Leaf, start) || !NeedsRenewal(pair.Leaf, start.Add(300*24*time.Hour)) {
		t.Error("a serving certificate is due for renewal in its last 90 days, not before")
	}
}

func TestNoCertificateOutlivesItsAuthority(t *testing.T) {
	set, err := LoadOrCreate(t.TempDir(), start)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := set.Agents.Issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "x"}, NotBefore: start, NotAfter: start.Add(20 * authorityLifetime),
	}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if certificate.NotAfter.After(set.Agents.Certificate.NotAfter) {
		t.Errorf("it ends %s, its authority %s", certificate.NotAfter, set.Agents.Certificate.NotAfter)
	}
}

func TestTheAdminKubeconfigIsKeptUntilSomethingChanges(t *testing.T) {
	dir := t.TempDir()
	set, err := LoadOrCreate(filepath.Join(dir, "pki"), start)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "admin.kubeconfig")
	write := func(server string, now time.Time) string {
		t.Helper()
		if err := set.AdminKubeconfig(path, server, now); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	first := write("https://10.0.0.1:6443", start)
	if again := write("https://10.0.0.1:6443", start.Add(24*time.Hour)); again != first {
		t.Error("it was rewritten for no reason")
	}
	moved := write("https://10.0.0.2:6443", start)
	if moved == first {
		t.Error("the new address is not in it")
	}
	if renewed := write("https://10.0.0.2:6443", start.Add(300*24*time.Hour)); renewed == moved {
		t.Error("it was not renewed near its end")
	}
	overwrite(t, dir, "admin.kubeconfig", "\tnot yaml")
	write("https://10.0.0.2:6443", start)

	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	certificate := parse(t, config.AuthInfos["windlass-admin"].ClientCertificateData)
	if diff := cmp.Diff([]string{"system:masters"}, certificate.Subject.Organization); diff != "" {
		t.Error(diff)
	}
	if blocks := strings.Count(string(config.AuthInfos["windlass-admin"].ClientCertificateData), "BEGIN CERTIFICATE"); blocks != 1 {
		t.Errorf("%d certificates are shown with every connection, want the administrator's alone: the API server tries each for every request", blocks)
	}
}

func TestTheAdminKubeconfigIsGoodForAsLongAsTheHubRuns(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "admin.kubeconfig")
	synctest.Test(t, func(t *testing.T) {
		set, err := LoadOrCreate(filepath.Join(dir, "pki"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		if err := set.KeepAdminKubeconfig(t.Context(), path, "https://10.0.0.1:6443", slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		const month = 30 * 24 * time.Hour
		for range 24 {
			config, err := clientcmd.LoadFromFile(path)
			if err != nil {
				t.Fatal(err)
			}
			certificate := parse(t, config.AuthInfos["windlass-admin"].ClientCertificateData)
			if left := time.Until(certificate.NotAfter); left < 2*month {
				t.Fatalf("on %s %s are left until its certificate ends, and copies of it have to be made anew in that time", time.Now().Format(time.DateOnly), left)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("mode %v, %v: want 600", info.Mode(), err)
			}
			time.Sleep(month)
			synctest.Wait()
		}
		if log.Len() > 0 {
			t.Error(log.String())
		}
	})
}

func TestAnAdminKubeconfigThatCanNotBeRenewedIsTriedAgainTheNextDay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "admin.kubeconfig")
	synctest.Test(t, func(t *testing.T) {
		set, err := LoadOrCreate(filepath.Join(dir, "pki"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		keep := func() error {
			return set.KeepAdminKubeconfig(t.Context(), path, "https://10.0.0.1:6443", slog.New(slog.NewTextHandler(&log, nil)))
		}
		if err := keep(); err != nil {
			t.Fatal(err)
		}
		remove(t, dir, "admin.kubeconfig")
		if err := os.Mkdir(path, 0o700); err != nil { // in its place, it can be neither read nor replaced
			t.Fatal(err)
		}
		if err := keep(); err == nil {
			t.Error("that it could not be written at the start is not told")
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if !strings.Contains(log.String(), `msg="renewing the admin kubeconfig"`) {
			t.Errorf("the log says %q", log.String())
		}
		remove(t, dir, "admin.kubeconfig")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if _, err := clientcmd.LoadFromFile(path); err != nil {
			t.Error(err)
		}
	})
}

func TestTheFrontProxyCertificateIsRenewedInPlace(t *testing.T) {
	set, err := LoadOrCreate(t.TempDir(), start)
	if err != nil {
		t.Fatal(err)
	}
	read := func(now time.Time) string {
		t.Helper()
		file, _, err := set.FrontProxyClient("front-proxy-client", now)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	first := read(start)
	if read(start.Add(24*time.Hour)) != first {
		t.Error("it was rewritten for no reason")
	}
	if read(start.Add(300*24*time.Hour)) == first {
		t.Error("it was not renewed near its end")
	}
}

func parse(t *testing.T, encoded []byte) *x509.Certificate {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crt")
	if err := os.WriteFile(path, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	certificate, err := loadCertificate(path)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
