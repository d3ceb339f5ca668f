// Package lanyard is the Go client of Lanyard: whose session is this, and is it still good?
//
//	// Once, when the service starts.
//	client, err := lanyard.NewClient("http://127.0.0.1:50051", lanyard.WithAPIKey(key), lanyard.WithCurrentApp("CRM"))
//
//	// A user logs in. The token comes once; hand it to the user's browser.
//	login, err := client.LogIn(ctx, "alice", password)
//
//	// On each request of that user: is the token good?
//	session, err := client.Verify(ctx, login.UST)
//	switch {
//	case err == nil:
//		fmt.Println("hello,", session.Username)
//	case errors.Is(err, lanyard.ErrInactive):
//		fmt.Println("log in again:", err)
//	default:
//		return err // Lanyard could not be asked: this says nothing about the token
//	}
//
//	// What a user does is done on their behalf.
//	alice := client.OnBehalfOf(login.UST)
//	for session, err := range alice.ListSessions(ctx, nil) {
//		...
//	}
//
// Packages lanyardhttp and lanyardgrpc protect a service with it in a few lines; lanyardotel traces its calls.
//
// # What each call does by itself
//
//   - It has a deadline: 2 seconds ([WithTimeout]) or that of its context, if it is earlier. The server is told.
//   - A *read* that finds the server unavailable is tried again ([RetryPolicy]); a write never is.
//   - It carries a correlation ID, the same in all its attempts: that of its context ([WithCorrelationID]), else a new one.
//     Every [Error] names it; the audit trail finds by it.
//   - It says where the user is ([WithClientInfo], [WithCurrentApp]).
//
// # Messages
//
// Requests and answers are the messages of the contract (package lanyardv1). Those that hold a secret print without it. The
// verbs here are for what services do all day; everything else is done with the generated stubs of a [Client] or [Subject],
// which do all of the above too.
package lanyard
