package interpret

import "testing"

func TestTheStatusesOfAWorkFitTogether(t *testing.T) {
	const half = MaxWorkStatusBytes / 2
	for _, test := range []struct {
		reason string
		sizes  []int
		want   int
	}{
		{"none", nil, MaxWorkStatusBytes},
		{"one of any size", []int{MaxStatusBytes}, MaxWorkStatusBytes},
		{"as much as can be", []int{half, 0, half}, MaxWorkStatusBytes},
		{"too much: an equal share each", []int{half, 1, half}, MaxWorkStatusBytes / 3},
	} {
		got := LargestStatus(test.sizes)
		if got != test.want {
			t.Errorf("%s: %d, want %d", test.reason, got, test.want)
		}
		kept := 0
		for _, size := range test.sizes {
			if size <= got {
				kept += size
			}
		}
		if kept > MaxWorkStatusBytes {
			t.Errorf("%s: %d bytes are kept", test.reason, kept)
		}
	}
}
