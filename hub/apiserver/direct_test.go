package apiserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The obvious way is the network: a client can't tell the two apart.
func TestARequestInTheProcessIsServedAsOverTheNetwork(t *testing.T) {
	tests := []struct {
		reason  string
		handler http.HandlerFunc
	}{
		{"it is seen as it was sent", func(w http.ResponseWriter, r *http.Request) {
			content, err := io.ReadAll(r.Body)
			fmt.Fprintln(w, r.Method, r.URL.String(), r.RequestURI, r.Header.Get("Authorization"), string(content), err)
		}},
		{"a status and a header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Warning", "199")
			w.WriteHeader(http.StatusConflict)
			w.Header().Set("Warning", "too late")
			fmt.Fprint(w, "changed")
		}},
		{"two statuses, of which the first counts", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			w.WriteHeader(http.StatusTeapot)
		}},
		{"nothing at all", func(http.ResponseWriter, *http.Request) {}},
		{"much", func(w http.ResponseWriter, _ *http.Request) {
			for range 1000 {
				fmt.Fprint(w, strings.Repeat("much ", 1000))
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			network := httptest.NewServer(test.handler)
			defer network.Close()
			over := func(client *http.Client) string {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, network.URL+"/a%2Fb/c?d=e%20f", strings.NewReader("content"))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Authorization", "Bearer token")
				response, err := client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				content, err := io.ReadAll(response.Body)
				return fmt.Sprint(response.Status, response.StatusCode, response.Header["Warning"], string(content), err)
			}
			if diff := cmp.Diff(over(network.Client()), over(&http.Client{Transport: serving(test.handler)})); diff != "" {
				t.Errorf("(-network +process):\n%s", diff)
			}
		})
	}
}

// serving is the way to a handler of a server that is ready.
func serving(handler http.Handler) direct {
	ready := make(chan struct{})
	close(ready)
	return direct{handler, ready}
}

func ask(t *testing.T, ctx context.Context, handler http.HandlerFunc) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://hub/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	return serving(handler).RoundTrip(request)
}

func TestWhatAHandlerSaysCanBeReadBeforeItSaysMore(t *testing.T) {
	more := make(chan struct{})
	response, err := ask(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "first")
		w.(http.Flusher).Flush()
		<-more
		fmt.Fprintln(w, "second")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for _, want := range []string{"first", "second"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("read %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
		if want == "first" {
			close(more)
		}
	}
}

func TestAHandlerEndsWhenNobodyReadsItsReplyAnyMore(t *testing.T) {
	tests := []struct {
		reason string
		leave  func(cancel func(), body io.Closer)
		serve  func(w http.ResponseWriter)
	}{
		{"the reply is closed while it waits", func(_ func(), body io.Closer) { _ = body.Close() }, func(http.ResponseWriter) {}},
		{"the request is cancelled while it waits", func(cancel func(), _ io.Closer) { cancel() }, func(http.ResponseWriter) {}},
		{"the reply is closed while it says more than is kept", func(_ func(), body io.Closer) { _ = body.Close() }, sayWithoutEnd},
		{"the request is cancelled while it says more than is kept", func(cancel func(), _ io.Closer) { cancel() }, sayWithoutEnd},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan struct{})
			response, err := ask(t, ctx, func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				w.(http.Flusher).Flush()
				test.serve(w)
				<-r.Context().Done()
			})
			if err != nil {
				t.Fatal(err)
			}
			test.leave(cancel, response.Body)
			<-ended
			if _, err := io.Copy(io.Discard, response.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("who still reads is told %v", err)
			}
		})
	}
}

// sayWithoutEnd returns when nobody takes what it says.
func sayWithoutEnd(w http.ResponseWriter) {
	for {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
}

func TestAHandlerThatBreaksOffIsAnErrorOfItsRequestAndOfNothingElse(t *testing.T) {
	if _, err := ask(t, t.Context(), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("before its reply: %v", err)
	}
	response, err := ask(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		panic(http.ErrAbortHandler)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if content, err := io.ReadAll(response.Body); string(content) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("in the middle of it: %q, %v", content, err)
	}
}

func TestARequestThatIsCancelledBeforeItsReplyBeginsIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := ask(t, ctx, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestARequestWaitsForTheServerToServe(t *testing.T) {
	ready := make(chan struct{})
	client := &http.Client{Transport: direct{http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case <-ready:
		default:
			t.Error("it was served too early")
		}
	}), ready}}
	answered := make(chan error, 1)
	go func() {
		response, err := client.Get("https://hub/")
		if err == nil {
			_ = response.Body.Close()
		}
		answered <- err
	}()
	close(ready)
	if err := <-answered; err != nil {
		t.Error(err)
	}

	t.Run("but not for longer than its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://hub/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (direct{http.NotFoundHandler(), make(chan struct{})}).RoundTrip(request); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	})
}
