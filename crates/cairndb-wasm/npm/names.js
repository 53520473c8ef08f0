// Names: of what the tabs of one origin share for a database.

/** The directory that holds all databases, one directory each. src/js.rs has it too. */
export const DIRECTORY = 'cairndb';

/** The lock that the tab holds which has the database open. */
export const lockOf = (name) => `cairndb:${name}`;

/** Where tabs look for that tab. */
export const channelOf = (name) => `cairndb:${name}`;

/** Where a tab and that one talk. */
export const clientChannelOf = (name, id) => `cairndb:${name}:${id}`;
