/** Header of an activity with its summary, which the server keeps from the activity. */
export const SUMMARY_HEADER = 'boundaries-summary';
