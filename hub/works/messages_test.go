package works

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store/storetest"
)

// Whoever walks a list of works may come to one whose end has been told since the list was made.
func TestAWorkThatIsGoneIsNotRememberedAsItTravels(t *testing.T) {
	store := storetest.New()
	view, err := New(Config{Works: store.Works(), FirstListed: func() int64 { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	work := store.PropagationWorks.Put(&workv1alpha1.PropagationWork{ObjectMeta: metav1.ObjectMeta{Namespace: "karmada-es-a", Name: "web"}})
	store.PropagationWorks.Drop("karmada-es-a", "web")
	if got := view.message(work); got.GetKey() != "web" {
		t.Errorf("the message is %v", got)
	}
	view.messages.Range(func(key, _ any) bool {
		t.Errorf("%s is remembered", key)
		return true
	})
}
