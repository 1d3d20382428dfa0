#include "dataplane/events.h"

SY_LOG_TABLE_DEFINE(dp_events, "operator", DP_EVENTS)
