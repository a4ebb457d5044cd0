// Command legacy is a service that knows nothing of tokens. The gate has judged them before a request gets here, and the proxy says who calls.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "where to answer")
	flag.Parse()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /reports", reports)
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

// reports says who asked.
func reports(w http.ResponseWriter, r *http.Request) {
	client := r.Header.Get("X-Auth-Client")
	if client == "" { // it did not come through the gate
		http.Error(w, "nobody has said who calls", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"service": "legacy", "client": client, "scope": r.Header.Get("X-Auth-Scope")}) // the caller may be gone
}
