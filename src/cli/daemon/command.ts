/** The word that makes a process of `ogee` a daemon; its orders come over the IPC channel. */
export const DAEMON_COMMAND = '__daemon'
