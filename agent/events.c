#include "agent/events.h"

SY_LOG_TABLE_DEFINE(ag_events, "agent", AG_EVENTS)
