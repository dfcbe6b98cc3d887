package cluster

import "path/filepath"

// StartProgram starts another program beside a fleet, such as simulated agents: its log and record lie in dir, under name,
// and it ends with the process that starts it. It returns when the process runs, whatever that does.
func StartProgram(name, binary, dir string, args ...string) (*Process, error) {
	binary, err := builtBinary(binary)
	if err != nil {
		return nil, err
	}
	return start(command{
		name: name, path: binary, args: args, dir: dir, log: filepath.Join(dir, name+".log"), env: plainEnvironment(), lifetime: WithParent,
	})
}
