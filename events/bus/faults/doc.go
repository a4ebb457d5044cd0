// Package faults has no code but its tests: of what must hold whatever happens to the servers, to their disks, and to the networks between them
// and to their clients. There are two systems: keyherald serve with its own server, and three nats-servers with the buckets on all of them.
// Each server is a process, killed with kill -9 and paused with kill -STOP; the networks are proxies in the test (package eventstest).
//
// # What is checked
//
// While something happens, writers at every node write a few records by compare-and-set, and remember what they were told; and verifiers at every node
// are looked at a hundred times a second. Then
//
//   - porcupine finds out whether the writes can have happened one after the other: nothing acknowledged is lost, and no compare-and-set has
//     won twice. A write of which nobody was told what became of it may have happened, or not;
//   - every node, cut off from the others, has every write that was acknowledged, and all have the same;
//   - whenever a verifier said that it was complete up to a revision, it had every write up to there; and when it said that it was complete at
//     a time, it had what was acknowledged before. The longest time for which that was not so is in the log of each trial, and must be 0;
//   - a token is not accepted longer than the policy allows after its key was revoked, and never again once it was refused;
//   - when it is over, writers get on, and all verifiers are up to date.
//
// # Faults
//
//	killed mid-write                             TestF_ServeIsKilledMidWrite, TestF_ClusterNodesAreKilledMidWrite
//	paused                                       TestF_ServeIsPaused, TestF_ClusterLeaderOrTwoNodesArePaused
//	the same, with a node of the token service   TestF_AnIssuerIsNotReadyWhileItsClusterDoesNotDecide
//	verifiers cut off                            TestF_ServeLosesItsVerifiers, TestF_ClusterVerifiersAreCutOff
//	partition                                    TestF_ClusterIsPartitioned, TestF_AnIssuerOnTheSideOfTheFewIsNotReady
//	a write right after its leader is lost       TestF_ClusterWritesWaitForTheNextLeader
//	two paused, the third killed, and so on      TestF_ClusterNodesArePausedAndKilledInTurn
//	damaged files                                TestF_ServeHasADamagedStore, TestF_ClusterNodeHasADamagedStore; in packages embedded and bus:
//	                                             TestF_AStartTellsThatRecordsAreLost, TestF_ARecordThatTheServerCannotReadIsMissed
//	deleted store of a node                      TestF_ClusterNodeLosesItsStore
//	restored from a backup, or made again        TestF_ServeBucketIsRestoredOrMadeAgain, TestF_ClusterBucketIsRestoredOrMadeAgain
//	rollup, purge, delete                        TestF_ClusterWritersEraseNothing; TestN_RollupErasesNothing and its neighbours in package embedded
//	all verifiers reconnect at once              TestF_VerifiersThatLoseTheirNodeAtOnceComeBack, TestF_ServeVerifiersThatLoseItAtOnceComeBack
//	several writers of one record                TestN_ClusterWritesReplaceExactlyOneRevision
//	disk full                                    TestF_ServeHasNoRoomOnItsDisk
//	clock set an hour forward or back            TestP4_StalenessGoesByTheClockThatHasSeenMore in package verifier,
//	                                             TestF_StalenessOfANodeGoesByTheClockThatHasSeenMore in package issuer
//
// A seed fixes what happens, and when; not what the servers and the machine make of it, so a failure may have to be repeated a few times, as it says
// itself. There are few seeds here, and things last only as long as it takes to see what comes of them; TestSoak goes on for as long as
// it is told.
//
// # What a server does not tell
//
// A nats-server (2.15) that starts with a damaged file cuts off what comes after the damage, or makes the bucket again, empty, and logs nothing; what it
// finds damaged later, it passes over. In a cluster it gets back what it has cut off. With one server, the start of the embedded one says
// so, by what it has noted, but for what was written in the last second before; a plain nats-server does not. A damaged snapshot of a replica is logged,
// and the replica missing until an operator deletes the node's store. Records that are passed over are found out by whoever reads all of
// a bucket, unless it is written to at the same moment.
package faults
