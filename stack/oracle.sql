-- Both tables as `producer --oracle` prints them, one JSON object a line.
SELECT '{"table":"users","row":{"id":"' || id || '","name":' || to_json(name) || ',"dob":"' || dob
    || '","created_at":"' || to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    || '","modified_at":"' || to_char(modified_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    || '","is_deleted":' || is_deleted || '}}'
FROM users;
SELECT '{"table":"orders","row":{"id":"' || id || '","status":"' || status || '","user_id":"' || user_id
    || '","quantity":' || quantity || ',"total_amount":"' || total_amount
    || '","placed_at":"' || to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    || '","modified_at":"' || to_char(modified_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    || '","is_deleted":' || is_deleted || '}}'
FROM orders;
